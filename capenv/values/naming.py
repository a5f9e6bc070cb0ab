"""How messages and paths name things: JSON pointers, and values in few words."""


def pointer(*keys: object) -> str:
    """Return the JSON pointer (RFC 6901) to what is under `keys`, from the outermost on."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def brief(value: object, length: int = 100) -> str:
    """Return a value's `repr` in one line of at most `length` characters, or else its type."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= length else text[: length - 3] + "..."
