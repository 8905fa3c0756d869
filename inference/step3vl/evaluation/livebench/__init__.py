"""LiveBench's rules: one function a task, from the official answer and a response to a value in 0..1."""
