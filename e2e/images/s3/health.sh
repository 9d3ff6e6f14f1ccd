#!/bin/bash
# Succeeds when the server answers.
set -euo pipefail
exec 3<>/dev/tcp/127.0.0.1/7070
printf 'GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
read -r -t 2 _ status _ <&3
[[ $status == 200 ]]
