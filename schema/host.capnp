@0xb8b2d1a6c27f0d43;
# What a peer offers: a gate to connect to, and behind it hosts, environments, worlds and sessions.
# Every struct may grow at its end; a reader ignores what it does not know.

using Values = import "values.capnp";

struct Version {
  major @0 :UInt16;
  # Peers of different majors do not understand each other.
  minor @1 :UInt16;
  # A higher minor only adds.
}

struct Implementation {
  name @0 :Text;
  # Such as "capenv" or "lander".
  version @1 :Text;
}

enum Kind {
  host @0;
  environment @1;
  world @2;
  session @3;
}

interface Gate {
  # The bootstrap capability. It holds no authority: connecting gives nothing without a token.

  hello @0 (version :Version, implementation :Implementation)
        -> (version :Version, implementation :Implementation, messageBytes :UInt64);
  # Must be the first call. The server's version, and the largest message it takes.
  # Fails with VersionMismatch when the majors differ.

  restore @1 (token :Data) -> (capability :Capability, kind :Kind);
  # The capability behind the secret of a capability URL. Fails with UnknownToken.
}

interface Playable {
  # Whatever a URL may name that leads to one session: a client that wants to play needs no other method.

  play @0 (id :Text, settings :List(Values.Entry)) -> (session :Session, description :SessionDescription);
  # A session in a world of its own (Host, where `id` chooses the environment, and Environment),
  # in this world (World), or this very session (Session). `id` and `settings` must be empty where there
  # is nothing left to choose.

  playVector @1 (id :Text, settings :List(Values.Entry), options :VectorOptions) -> (session :VectorSession, description :VectorDescription);
  # A session in many worlds of its own that are stepped as one (Host and Environment).
}

enum AutoresetMode {
  # When a sub-environment whose episode ended begins another (Gymnasium's AutoresetMode).
  nextStep @0;
  sameStep @1;
  disabled @2;
}

enum VectorizationMode {
  # What makes many environments one (Gymnasium's VectorizeMode).
  any @0;
  # The environment's own vector entry point where it has one that can do what is asked, or else `sync`.
  sync @1;
  vectorEntryPoint @2;
}

struct VectorOptions {
  numEnvs @0 :UInt32;
  vectorizationMode @1 :VectorizationMode;
  hasAutoresetMode @2 :Bool;
  # Whether the mode is asked for; else it is the environment's own, and of `sync` nextStep.
  autoresetMode @3 :AutoresetMode;
}

interface VectorSession {
  # The authority to act in many sub-environments at once. Calls are carried out in the order they were sent.

  describe @0 () -> (description :VectorDescription);

  reset @1 (seed :Values.Value, options :Values.Value) -> (observations :Values.Element, infos :List(Values.Entry));
  # Begin episodes (Gymnasium's VectorEnv.reset). `seed` is none, an integer for the first sub-environment,
  # whose successors get the next ones, or a list of an integer or none for each. In `options`, `reset_mask`
  # chooses which begin anew.

  step @2 (actions :Values.Element) -> VectorTimeStep;
  # Gymnasium's VectorEnv.step. Fails as Session.step does.

  render @3 () -> (rendering :Values.Value);

  leave @4 ();
  # End all the worlds. Every later call but `leave` fails with SessionClosed.
}

struct VectorDescription {
  environment @0 :EnvironmentDescription;
  # With the spaces of one sub-environment.
  numEnvs @1 :UInt32;
  observationSpace @2 :Values.Space;
  actionSpace @3 :Values.Space;
  # Those of all together.
  observationLayout @4 :Values.Layout;
  actionLayout @5 :Values.Layout;
  autoresetMode @6 :AutoresetMode;
  renderMode @7 :Text;
}

struct VectorTimeStep {
  observations @0 :Values.Element;
  rewards @1 :Values.Tensor;
  terminations @2 :Data;
  truncations @3 :Data;
  # A byte for each sub-environment: 0 or 1.
  infos @4 :List(Values.Entry);
}

interface Host extends(Playable) {
  describe @0 () -> (description :HostDescription);

  environment @1 (id :Text) -> (environment :Environment);
  # Fails with UnknownEnvironment, naming near matches.

  createWorld @2 (id :Text, settings :List(Values.Entry)) -> (world :World);
}

struct HostDescription {
  environments @0 :List(Text);
  implementation @1 :Implementation;
  version @2 :Version;
}

interface Environment extends(Playable) {
  describe @0 () -> (description :EnvironmentDescription);

  createWorld @1 (settings :List(Values.Entry)) -> (world :World);
  # Fails with BadSettings, naming the setting, or with EnvironmentFailed when its making raised.
}

struct EnvironmentDescription {
  id @0 :Text;
  observationSpace @1 :Values.Space;
  actionSpace @2 :Values.Space;
  seats @3 :List(Text);
  settings @4 :List(Setting);
  metadata @5 :List(Values.Entry);
  # Gymnasium's Env.metadata: render_modes, render_fps.
  maxEpisodeSteps @6 :UInt64;
  # 0: no limit.
  nondeterministic @7 :Bool;
}

struct Setting {
  name @0 :Text;
  type @1 :Text;
  # As its author wrote it, for people: "bool", "float", "str | None". Empty if nothing was said.
  required @2 :Bool;
  default @3 :Values.Value;
}

interface World extends(Playable) {
  # One running instance. It lives as long as somebody holds it or one of its sessions.

  describe @0 () -> (description :WorldDescription);

  join @1 (seat :Text, settings :List(Values.Entry)) -> (session :Session, description :SessionDescription);
  # Take a seat; "" takes any. Fails with SeatTaken or UnknownSeat.

  destroy @2 () -> ();
  # End it for everyone: its sessions fail with SessionClosed from then on.
}

struct WorldDescription {
  environment @0 :EnvironmentDescription;
  # With the spaces of this very world, which its settings may have changed.
  settings @1 :List(Values.Entry);
  # As given when it was created.
  seats @2 :List(Seat);
}

struct Seat {
  name @0 :Text;
  taken @1 :Bool;
}

interface Session extends(Playable) {
  # The authority to act in one seat. Calls are carried out in the order they were sent.

  describe @0 () -> (description :SessionDescription);

  reset @1 (hasSeed :Bool, seed :Values.Value, options :Values.Value) -> (observation :Values.Element, info :List(Values.Entry), seed :Values.Value);
  # Begin an episode (Gymnasium's Env.reset). `options` is a map or none. The seed returned is the
  # environment's np_random_seed, or none where it keeps none.

  step @2 (action :Values.Element, freed :UInt64) -> TimeStep;
  # Gymnasium's Env.step. Fails with ResetNeeded before the first reset, with OutsideSpace, changing nothing,
  # for an action the space does not contain, and with EnvironmentFailed when the environment raised:
  # then a reset is needed. `freed` has a bit for every slot of shared memory that is read no more.

  render @3 () -> (rendering :Values.Value);
  # Gymnasium's Env.render in the mode that the world was created with.

  leave @4 () -> ();
  # Give the seat up. Every later call but `leave` fails with SessionClosed.

  shareFrames @5 () -> (memory :SharedMemory, slots :UInt8, frameBytes :UInt64);
  # Have observations of `step` put into memory that both processes share, where a slot of it is free.
  # Unimplemented where no descriptor can be passed, or it would not be faster.
}

interface SharedMemory {
  # A descriptor rides with this capability (CapDescriptor.attachedFd): of a memfd, sealed against being made
  # shorter or longer, with so many slots for frames, each from the beginning of a page of 4096 bytes.
}

struct SessionDescription {
  environment @0 :EnvironmentDescription;
  seat @1 :Text;
  observationLayout @2 :Values.Layout;
  actionLayout @3 :Values.Layout;
  renderMode @4 :Text;
  # Empty: none.
  restored @5 :Bool;
  # Whether the session outlives whoever uses it (it has a URL of its own), so that closing an agent must not leave it.
}

struct TimeStep {
  observation @0 :Values.Element;
  reward @1 :Float64;
  terminated @2 :Bool;
  truncated @3 :Bool;
  info @4 :List(Values.Entry);
  exactReward @5 :Values.Value;
  # Set where the environment's reward is not a plain float (an int, a numpy scalar): its exact value and type.
}
