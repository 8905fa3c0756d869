"""The web: archives, saved sites, pages and their main body, and a fetcher of images."""
