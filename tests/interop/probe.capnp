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
