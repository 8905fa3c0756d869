"""One file a domain: its configuration, its builder functions, and one composite that wires them."""
