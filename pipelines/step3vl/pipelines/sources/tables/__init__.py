"""Tables: real ones, and generated ones of many topics."""
