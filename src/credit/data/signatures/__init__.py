"""How a file of each format is told from something else, a module each: `identify` says which file content is."""
