#!/bin/sh
# Makes the environment of the witnesses: other people's clients, with which tests read back what was written.
exec sh "$(dirname "$0")/setup.sh" witness
