"""Compiled inner loops. The only folder that imports numba; it imports nothing else of cme."""
