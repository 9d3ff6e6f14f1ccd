#!/bin/sh
# Succeeds when the server takes connections over TCP.
exec pg_isready -q -h 127.0.0.1 -t 2
