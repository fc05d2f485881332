# An authority, the server's certificate where libvirt looks for it, and clients': sh pki.sh.
# In a directory each, as `?pkipath=` has it: good, other (another name), revoked, stranger (of another authority).
set -e
make_authority() {
    mkdir -p "$1"
    certtool --generate-privkey --key-type=rsa --bits=2048 --outfile "$1/key.pem"
    printf 'cn = "%s authority"\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days = 30\n' "$1" >"$1/template"
    certtool --generate-self-signed --load-privkey "$1/key.pem" --template "$1/template" --outfile "$1/cacert.pem"
}
sign() {
    certtool --generate-privkey --key-type=rsa --bits=2048 --outfile "$4"
    printf '%s\n' "$2" signing_key encryption_key "expiration_days = 30" >template
    certtool --generate-certificate --load-privkey "$4" --load-ca-privkey "$1/key.pem" \
        --load-ca-certificate "$1/cacert.pem" --template template --outfile "$3"
}
client() {
    mkdir -p "$2"
    sign "$1" "country = GB
organization = House
cn = $2
tls_www_client" "$2/clientcert.pem" "$2/clientkey.pem"
    cat house/cacert.pem "$1/cacert.pem" >"$2/cacert.pem"
}
make_authority house
make_authority elsewhere
mkdir -p /etc/pki/CA /etc/pki/libvirt/private
cp house/cacert.pem /etc/pki/CA/cacert.pem
sign house 'cn = localhost
dns_name = localhost
tls_www_server' /etc/pki/libvirt/servercert.pem /etc/pki/libvirt/private/serverkey.pem
client house good
client house other
client house revoked
client elsewhere stranger
printf 'crl_next_update = 30\ncrl_number = 1\n' >crl.template
certtool --generate-crl --load-ca-privkey house/key.pem --load-ca-certificate house/cacert.pem \
    --load-certificate revoked/clientcert.pem --template crl.template --outfile crl.pem
