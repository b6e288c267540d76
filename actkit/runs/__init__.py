"""Runs on disk: paths, parts, manifests, lock, atomic files, reader, writer, `open_run`."""
