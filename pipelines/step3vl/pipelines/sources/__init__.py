"""Where records come from: files, PDF pages, icons, countries, problems."""
