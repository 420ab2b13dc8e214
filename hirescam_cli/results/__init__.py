"""Result formats: from a finished case and its scan to the files of its folder."""
