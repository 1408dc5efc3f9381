"""The documentation as a site: pages, and what is made from the code, in one source folder for Sphinx."""
