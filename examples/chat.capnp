@0xbf5147cbbecf40c1;
# An interface of one's own, to be served and called beside capenv's.

interface Room {
  enter @0 (name :Text, listener :Listener) -> (seat :Seat);
  # The listener hears what everyone in the room says.
}

interface Seat {
  say @0 (text :Text) -> (heardBy :UInt32);
}

interface Listener {
  hear @0 (name :Text, text :Text) -> stream;
}
