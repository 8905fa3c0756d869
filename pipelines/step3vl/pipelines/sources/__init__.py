"""What domains read or generate from: files, PDF pages, icons, countries, problems."""
