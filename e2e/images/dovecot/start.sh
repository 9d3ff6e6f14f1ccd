#!/bin/sh
# Starts Dovecot in the foreground. SEPARATOR is the hierarchy delimiter; PREFIX the personal namespace's prefix;
# CAPABILITY, where set, replaces what is advertised, so that an upstream that offers less can be played.
set -eu
: "${SEPARATOR:=/}"
: "${PREFIX:=}"
: "${CAPABILITY:=}"
if [ ! -f /etc/dovecot/key.pem ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
        -keyout /etc/dovecot/key.pem -out /etc/dovecot/cert.pem 2>/dev/null
fi
sed -e "s|@SEPARATOR@|$SEPARATOR|" -e "s|@PREFIX@|$PREFIX|" /etc/dovecot/dovecot.conf.in >/etc/dovecot/dovecot.conf
if [ -n "$CAPABILITY" ]; then
    echo "imap_capability = $CAPABILITY" >>/etc/dovecot/dovecot.conf
fi
exec dovecot -F
