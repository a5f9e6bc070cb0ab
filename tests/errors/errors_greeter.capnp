@0xd1f0f7e2b3a49c55;
# Somebody else's interface.

interface Greeter {
  greet @0 (name :Text) -> (greeting :Text);
}
