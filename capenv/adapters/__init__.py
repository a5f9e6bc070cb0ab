"""Remote objects in the shapes that other libraries expect."""
