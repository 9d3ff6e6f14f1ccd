#!/bin/sh
# Starts versitygw in the foreground. S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY are the owner's; S3_BUCKET, where set, is
# made if it is missing; S3_REGION is what requests must be signed for.
set -eu
: "${S3_ACCESS_KEY_ID:?}" "${S3_SECRET_ACCESS_KEY:?}"
if [ -n "${S3_BUCKET:-}" ]; then
    mkdir -p "/srv/objects/$S3_BUCKET" # a bucket is a folder
fi
export ROOT_ACCESS_KEY_ID="$S3_ACCESS_KEY_ID" ROOT_SECRET_ACCESS_KEY="$S3_SECRET_ACCESS_KEY"
# Connections are kept, as every S3 service keeps them; messages are small, and so are the buffers.
exec versitygw --port :7070 --region "${S3_REGION:-us-east-1}" --health /health --keep-alive --quiet posix --io-buffer-size 65536 /srv/objects
