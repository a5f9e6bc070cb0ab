@0xd3a1c6e0f25b7a94;
# An interface that has one method for each thing that two peers must agree on.

interface Probe {
  echo @0 (text :Text) -> (text :Text);
  name @1 () -> (name :Text);
  child @2 (name :Text) -> (child :Probe);
  # A new object of that name.
  callBack @3 (target :Probe, text :Text) -> (text :Text);
  # Answers what `target.echo(text)` answers.
  keep @4 (probe :Probe) -> ();
  kept @5 () -> (probe :Probe);
  drop @6 () -> ();
  # Lets go of what `keep` was given.
  fail @7 (reason :Text) -> ();
  hang @8 () -> ();
  # Never answers.
  counts @9 () -> (hanging :UInt32, released :UInt32);
  # Calls of `hang` that were neither answered nor canceled; objects of `child` that nobody holds any more.
  data @10 (data :Data) -> (data :Data);
  missing @11 () -> ();
  # No server has it.
  slow @12 (text :Text) -> (text :Text);
  # Echo, after other tasks had their turn.
  same @13 (probe :Probe) -> (probe :Probe);
  # Answers with what it is given.
  later @14 (probe :Probe) -> (probe :Probe);
  # Answers at once with a promise, which `settle` resolves to what it was given.
  settle @15 () -> ();
  # Resolves every promise that `later` made.
  breakAll @16 (reason :Text) -> ();
  # Breaks every promise that `later` made.
  tail @17 (target :Probe, text :Text) -> (text :Text);
  # Answers by a tail call of `target.echo(text)`.
  seen @18 () -> (texts :List(Text));
  # Every text that `echo`, `slow` and `write` of this object were given, in the order in which they started.
  failAs @19 (kind :UInt16, reason :Text) -> ();
  # Fails as an `Exception.Type` of rpc.capnp: 0 failed, 1 overloaded, 2 disconnected, 3 unimplemented.
  write @20 (text :Text) -> stream;
  # Takes a while; the text "bad" makes it fail.
}

struct Body {
  number @0 :UInt64;
  flag @1 :Bool;
  text @2 :Text;
  data @3 :Data;
  numbers @4 :List(Int32);
  children @5 :List(Body);
  inner @6 :Body;
}

struct Empty {}

struct Holder {
  # Has room for capabilities, whose pointers the tests set themselves.
  first @0 :AnyPointer;
  second @1 :AnyPointer;
  inner @2 :Holder;
}
