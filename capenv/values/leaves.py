"""What is an element of the spaces without subspaces, and how it is put in a frame."""

import math
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from capenv.values.bounds import bounds_check, bounds_of, first_outside
from capenv.values.naming import brief
from capenv.values.tensors import array_bytes, check_bools, has_dtype

Space = spaces.Space[Any]
_BREADTH = {"b": 0, "i": 1, "u": 1, "f": 2}
"""How much dtypes of a kind can hold: Python numbers are not converted to less."""


class NotMemberError(Exception):
    """A value is not an element of a space: where in it, from the outermost key on, and why."""

    def __init__(self, reason: str, *path: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = list(path)


class Member(Protocol):
    """The elements of one space."""

    def admit(self, value: Any, check: bool) -> Any:
        """Return a value as an element of the space.

        Unless `check`, what a leaf does not contain is returned as it is.

        Raises:
            NotMemberError: It is none.
        """


class Fixed(Member, Protocol):
    """The elements of a space that has a place in the frame."""

    size: int
    """Bytes."""

    def fits(self, value: Any) -> bool:
        """Return whether a value is exactly of the type that the frame holds."""

    def dump(self, value: Any) -> bytes | memoryview:
        """Return the bytes of a value that fits."""

    def frame(self, value: Any, check: bool) -> bytes | memoryview | None:
        """Return the bytes of a value that fits and is an element, None if it is neither or the other."""

    def pack(self, frame: bytearray, offset: int, value: Any) -> None:
        """Put a value that fits into the frame."""

    def unpack(self, frame: bytearray | memoryview, offset: int) -> Any:
        """Return the value in the frame; an array is a view of it.

        Raises:
            ProtocolError: It holds a bool that is neither 0 nor 1.
        """


def wrong_type(value: Any, space: Space) -> NotMemberError:
    """Return the error for a value of a type that a space has no elements of."""
    kind = type(value).__name__
    return NotMemberError(f"is {brief(value)}, a {kind}, not an element of {brief(space)}")


class ArrayMember:
    """Elements of a Box, MultiDiscrete or MultiBinary."""

    def __init__(self, space: spaces.Box | spaces.MultiDiscrete[Any] | spaces.MultiBinary) -> None:
        self._space = space
        self._dtype: np.dtype[Any] = space.dtype
        self._shape = space.shape
        self._is_bool = space.dtype == np.bool_
        self._low, self._high = bounds_of(space)
        self._is_inside = bounds_check(self._low, self._high)
        self.size = math.prod(space.shape) * space.dtype.itemsize

    def fits(self, value: Any) -> bool:
        """Return whether it is an array of the space's dtype and shape."""
        return (
            type(value) is np.ndarray and value.dtype == self._dtype and value.shape == self._shape
        )

    def dump(self, value: Any) -> bytes | memoryview:
        """Return the array's bytes."""
        return array_bytes(value)

    def frame(self, value: Any, check: bool) -> bytes | memoryview | None:
        """Return the bytes of an array that fits, if it is within the bounds."""
        if (
            type(value) is not np.ndarray
            or value.dtype != self._dtype
            or value.shape != self._shape
            or (check and self._is_inside is not None and not self._is_inside(value))
        ):
            return None
        return array_bytes(value)

    def pack(self, frame: bytearray, offset: int, value: Any) -> None:
        """Copy the array into the frame."""
        np.ndarray(self._shape, self._dtype, frame, offset)[...] = value

    def unpack(self, frame: bytearray | memoryview, offset: int) -> Any:
        """Return the array in the frame."""
        if self._is_bool:
            check_bools(frame[offset : offset + self.size])
        return np.ndarray(self._shape, self._dtype, frame, offset)

    def admit(self, value: Any, check: bool) -> Any:
        """Return what the space contains: an array, or the Python numbers that Gymnasium takes for one."""
        if not check:
            return value
        array = value if self.fits(value) else self._taken_for(value)
        if self._is_inside is not None and not self._is_inside(array):
            index = first_outside(np.asarray(array), self._low, self._high)
            worst = np.asarray(array)[index]
            raise NotMemberError(f"is {worst}, outside {brief(self._space)}; clip it", *index)
        return value

    def _taken_for(self, value: Any) -> Any:
        array = value if isinstance(value, np.ndarray | np.generic) else self._array(value)
        self._check_type(array)
        return array

    def _array(self, value: Any) -> Any:
        """Return what Gymnasium takes a Python sequence or number for, if nothing is lost by it."""
        try:
            array = np.asarray(value)
            kind, own = array.dtype.kind, self._dtype.kind
            if array.size and _BREADTH[kind] > _BREADTH[own]:
                raise ValueError
            with np.errstate(all="ignore"):
                return np.asarray(value, self._dtype)
        except Exception:
            raise wrong_type(value, self._space) from None

    def _check_type(self, value: Any) -> None:
        if value.shape != self._shape:
            raise NotMemberError(
                f"has the shape {value.shape}, not {self._shape} as {brief(self._space)}"
            )
        # A MultiBinary contains zeros and ones of any dtype. Elsewhere a dtype of the same kind will do,
        # float64 for float32: it arrives as it is, and is taken there as it would be here.
        is_binary = isinstance(self._space, spaces.MultiBinary)
        if is_binary and not np.isin(value, (0, 1)).all():
            raise NotMemberError(f"is not all zeros and ones, as {brief(self._space)}")
        same_kind = np.can_cast(value.dtype, self._dtype, "same_kind")
        if not has_dtype(value.dtype) or not (is_binary or same_kind):
            raise NotMemberError(
                f"has the dtype {value.dtype}, which is not in {brief(self._space)};"
                f" convert it to {self._dtype}"
            )


class DiscreteMember:
    """Elements of a Discrete."""

    def __init__(self, space: spaces.Discrete[Any]) -> None:
        self._space = space
        self._dtype: np.dtype[Any] = space.dtype
        self._type = space.dtype.type
        self._range = range(int(space.start), int(space.start) + int(space.n))
        self.size = space.dtype.itemsize

    def fits(self, value: Any) -> bool:
        """Return whether it is a numpy scalar of the space's dtype."""
        return type(value) is self._type

    def dump(self, value: Any) -> bytes | memoryview:
        """Return the scalar's bytes."""
        data: bytes = value.tobytes()
        return data

    def frame(self, value: Any, check: bool) -> bytes | memoryview | None:
        """Return the bytes of a scalar that fits, if it is in the range."""
        if type(value) is not self._type or (check and int(value) not in self._range):
            return None
        return self.dump(value)

    def pack(self, frame: bytearray, offset: int, value: Any) -> None:
        """Copy the scalar into the frame."""
        frame[offset : offset + self.size] = value.tobytes()

    def unpack(self, frame: bytearray | memoryview, offset: int) -> Any:
        """Return the scalar in the frame."""
        return np.ndarray((), self._dtype, frame, offset)[()]

    def admit(self, value: Any, check: bool) -> Any:
        """Return an integer that the space contains, of whatever type it is."""
        if not check:
            return value
        if type(value) is not self._type and not isinstance(value, int):
            self._check_type(value)
        if int(value) not in self._range:
            raise NotMemberError(f"is {brief(value)}, outside {brief(self._space)}")
        return value

    def _check_type(self, value: Any) -> None:
        is_integer = (
            isinstance(value, np.ndarray | np.generic)
            and value.shape == ()
            and value.dtype.kind in "iu"
        )
        if not (is_integer and np.can_cast(value.dtype, self._dtype)):
            raise wrong_type(value, self._space)


class TextMember:
    """Elements of a Text."""

    def __init__(self, space: spaces.Text) -> None:
        self._space = space

    def admit(self, value: Any, check: bool) -> Any:
        """Return a str that the space contains."""
        if check and not self._space.contains(value):
            raise NotMemberError(f"is {brief(value)}, outside {brief(self._space)}")
        return value
