"""How far long work is: told to whoever gave a function for it, and shown to people as a bar."""
