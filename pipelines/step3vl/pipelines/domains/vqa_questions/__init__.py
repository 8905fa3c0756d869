"""Questions about images whose contents are known: what is asked, how it is worded, and the proof of every answer."""
