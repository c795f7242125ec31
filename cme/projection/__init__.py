"""The master equation itself: finite state projection, stationary laws, propagators."""
