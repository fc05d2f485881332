# cockpit's web server without systemd, one session of root's: the page is http://127.0.0.1:9090/. The system bus is
# there; libvirt-dbus is what the bus starts when the page asks.
XDG_RUNTIME_DIR=/run/house/home exec /usr/lib/cockpit/cockpit-ws --no-tls --address=127.0.0.1 --port=9090 \
    --local-session=cockpit-bridge >"$KEEP/cockpit.log" 2>&1
