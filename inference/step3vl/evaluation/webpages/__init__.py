"""Web pages against a design: their blocks of text, as Chromium lays them out, matched and compared (Design2Code)."""
