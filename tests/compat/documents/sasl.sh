# Who may log in with name and password, in each daemon's own way; and what clients are given: sh sasl.sh.
set -e
for user in joe ann; do
    if [ "$HOUSE_SIDE" = lodge ]; then
        echo secret-$user | "$LODGE" sasl-user add $user
    else
        echo secret-$user | saslpasswd2 -p -c -a libvirt -f /etc/libvirt/passwd.db $user
    fi
done
printf 'mech_list: scram-sha-256\nsasldb_path: /etc/libvirt/passwd.db\n' >/etc/sasl2/libvirt.conf
credentials() {
    printf '[credentials-house]\nauthname=%s\npassword=%s\n[auth-libvirt-localhost]\ncredentials=house\n' "$2" "$3" >"$1"
}
credentials /etc/libvirt/auth.conf joe secret-joe
credentials wrong.conf joe secret-ann
credentials nobody.conf nobody secret-joe
credentials ann.conf ann secret-ann
