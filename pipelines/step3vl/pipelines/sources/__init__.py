"""What domains read or generate from; a folder for each kind of source."""
