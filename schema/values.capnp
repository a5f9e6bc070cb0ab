@0xd0bd7f6d4a3c0b5e;
# Numpy arrays, Gymnasium spaces and their elements, and info trees.
# Numbers are little-endian and arrays row-major (C order) everywhere.

enum DType {
  bool @0;
  int8 @1;
  int16 @2;
  int32 @3;
  int64 @4;
  uint8 @5;
  uint16 @6;
  uint32 @7;
  uint64 @8;
  float16 @9;
  float32 @10;
  float64 @11;
}

struct Tensor {
  # One array. `data` holds exactly product(shape) * size(dtype) bytes.
  dtype @0 :DType;
  shape @1 :List(UInt64);
  data @2 :Data;
}

struct Value {
  # A self-described value: an info, a setting, an option, or an element of a space whose size varies.
  union {
    none @0 :Void;
    bool @1 :Bool;
    int @2 :Int64;
    float @3 :Float64;
    text @4 :Text;
    bytes @5 :Data;
    tensor @6 :Tensor;
    # A numpy array.
    scalar @7 :Tensor;
    # A numpy scalar: like a tensor of shape (), but numpy keeps the two apart, and so do we.
    list @8 :List(Value);
    tuple @9 :List(Value);
    map @10 :List(Entry);
    bigInt @11 :Data;
    # An integer beyond 64 bits: two's complement, as few bytes as hold it.
    graph @12 :Graph;
    objects @13 :List(Value);
    # A numpy array of one dimension, whose elements are Python objects: what vector environments make of
    # infos that are no numbers.
  }
}

struct Entry {
  key @0 :Text;
  value @1 :Value;
}

struct Graph {
  # Gymnasium's GraphInstance. `edges` and `edgeLinks` are none where the graph has no edges.
  nodes @0 :Value;
  edges @1 :Value;
  edgeLinks @2 :Value;
}

struct Space {
  # Gymnasium's spaces, nested to any depth that the reader's limits allow.
  union {
    box @0 :Box;
    discrete @1 :Discrete;
    multiDiscrete @2 :MultiDiscrete;
    multiBinary @3 :MultiBinary;
    text @4 :TextSpace;
    tuple @5 :List(Space);
    dict @6 :List(NamedSpace);
    sequence @7 :Sequence;
    graph @8 :GraphSpace;
    oneOf @9 :List(Space);
  }

  struct Box {
    shape @0 :List(UInt64);
    low @1 :Tensor;
    high @2 :Tensor;
    # Of the box's dtype. Of shape () where one bound holds for every element.
  }

  struct Discrete {
    # n integers from `start` on.
    n @0 :Int64;
    start @1 :Int64;
    dtype @2 :DType = int64;
  }

  struct MultiDiscrete {
    nvec @0 :Tensor;
    start @1 :Tensor;
    dtype @2 :DType = int64;
  }

  struct MultiBinary {
    shape @0 :List(UInt64);
    flat @1 :Bool;
    # MultiBinary(n) rather than MultiBinary([n]): Gymnasium keeps the two apart.
  }

  struct TextSpace {
    minLength @0 :UInt64;
    maxLength @1 :UInt64;
    characters @2 :Text;
  }

  struct Sequence {
    element @0 :Space;
    stack @1 :Bool;
  }

  struct GraphSpace {
    nodes @0 :Space;
    edges @1 :Space;
    hasEdges @2 :Bool;
  }
}

struct NamedSpace {
  name @0 :Text;
  space @1 :Space;
}

struct Layout {
  # How elements of one space are packed into a frame. Told once, in a description.
  frameSize @0 :UInt64;
  # Bytes, a multiple of 8.
  leaves @1 :List(Leaf);
}

struct Leaf {
  path @0 :Text;
  # Where the leaf is in the element, as a JSON pointer (RFC 6901): "/camera/0"; "" is the element itself.
  fixed @1 :Bool;
  # Whether the leaf has a place in the frame. One that has not always rides beside it.
  dtype @2 :DType;
  shape @3 :List(UInt64);
  offset @4 :UInt64;
  # Bytes from the start of the frame, a multiple of the dtype's size.
}

struct Element {
  # An element of a space: an observation or an action.
  union {
    packed :group {
      frame @0 :Data;
      # Exactly frameSize bytes, or none at all where every leaf rides beside.
      beside @1 :List(Beside);
      slot @3 :UInt8;
      # Not 0: `frame` is empty, and lies in the slot of that number, counted from 1, of the memory that
      # was shared (Session.shareFrames).
    }
    value @2 :Value;
    # The whole element, self-described: for who does not know the layout yet (a pipelined first step).
  }

  struct Beside {
    # A leaf of variable size, or one whose exact type is not that of the layout (a Python int where the
    # layout says int64): its bytes in the frame, if any, are zero and mean nothing.
    leaf @0 :UInt32;
    # Index in Layout.leaves. Strictly increasing.
    value @1 :Value;
  }
}
