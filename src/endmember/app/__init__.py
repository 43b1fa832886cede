"""The workbench: look at a spectrum image, try models at the speed of a slider, compare, export.

What it does stands in plain classes without a browser (`session`, `live`, `scheduler`); the pages
that show it are built on Panel and Bokeh, which are imported only where a page is made.
"""
