@0xf541ace4fd244b2c;
# The least interface that steps an environment over pycapnp's own RPC.

interface Stepper {
  reset @0 () -> (observation :Data);

  step @1 (action :Data)
       -> (observation :Data, reward :Float64, terminated :Bool, truncated :Bool);
}
