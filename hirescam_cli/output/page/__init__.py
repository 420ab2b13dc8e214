"""Pages for a browser: one self-contained file a case (`page.write_page`), the index of a run (`index.write_index`)."""
