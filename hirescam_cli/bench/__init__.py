"""The performance table: what hirescam promises about speed and memory, measured on this machine."""
