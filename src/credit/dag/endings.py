"""Which files there are of a figure and of a table."""

FILES = {"figures": ("pdf", "png", "csv", "html"), "tables": ("csv", "md", "html")}
PAGE = "html"  # what joins the report
