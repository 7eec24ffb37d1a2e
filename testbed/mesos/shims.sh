#!/bin/sh
# shims.sh DIR: stand-ins for the libraries that libmesos was linked with and Debian no longer has, with their sonames and
# symbol versions. Calls bind lazily: a missing function is noticed only when TLS, JWT secrets or fetching over HTTP is used.
# Subversion's and APR's are called by the replicated log only, and the registry is in memory. Needs gcc.
set -eu
mkdir -p "$1"
cd "$1"

cat >stubs.c <<'C'
#include <stdlib.h>
#define STUB(name) void name(void) { abort(); }
STUB(GENERAL_NAME_free) STUB(PEM_read_bio_RSAPrivateKey) STUB(PEM_read_bio_RSA_PUBKEY) STUB(RSA_free) STUB(X509_NAME_free)
C
cat >ssl.map <<'M'
OPENSSL_1.0.0 { global: GENERAL_NAME_free; PEM_read_bio_RSAPrivateKey; PEM_read_bio_RSA_PUBKEY; RSA_free; X509_NAME_free; local: *; };
OPENSSL_1.0.1 { };
OPENSSL_1.0.2 { };
M
echo 'CURL_OPENSSL_3 { local: *; };' >curl.map
: >empty.c

for library in libssl.so.1.0.0 libcrypto.so.1.0.0; do
    gcc -shared -fPIC -Wl,-soname,"$library" -Wl,--version-script,ssl.map -o "$library" stubs.c
done
gcc -shared -fPIC -Wl,-soname,libcurl.so.4 -Wl,--version-script,curl.map -o libcurl.so.4 empty.c
for library in libsvn_delta-1.so.1 libsvn_subr-1.so.1 libapr-1.so.0; do
    gcc -shared -fPIC -Wl,-soname,"$library" -o "$library" empty.c
done
rm stubs.c empty.c ssl.map curl.map
