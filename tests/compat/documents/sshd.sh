# A real sshd on port 2222 of this house's loopback, with keys of its own. Lodge's links come first on the path that
# whoever logs in has; what is written under /etc is thrown away with the house.
set -e
home=/run/house/home
mkdir -p /run/sshd "$home/joe"
for key in host other good bad; do
    ssh-keygen -q -t ed25519 -N '' -C "$key" -f "$home/$key"
done
id sshd >/dev/null 2>&1 || useradd --system --home-dir /run/sshd --shell /usr/sbin/nologin sshd
useradd --no-create-home --home-dir "$home/joe" --shell /bin/sh joe
chown joe "$home/joe"
cat "$home/good.pub" >"$home/authorized_keys"
echo "[localhost]:2222 $(cut -d' ' -f1,2 "$home/host.pub")" >"$home/right"
cp "$home/right" "$home/known"
echo "[localhost]:2222 $(cut -d' ' -f1,2 "$home/other.pub")" >"$home/wrong"
cat >/etc/ssh/ssh_config <<END
UserKnownHostsFile $home/known
GlobalKnownHostsFile $home/none
LogLevel ERROR
END
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ "$HOUSE_SIDE" = lodge ]; then
    "$LODGE" install-links --prefix /run/house/links >/dev/null
    path=/run/house/links/bin:/run/house/links/sbin:$path
fi
cat >/run/house/sshd_config <<END
Port 2222
ListenAddress 127.0.0.1
HostKey $home/host
AuthorizedKeysFile $home/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PidFile none
SetEnv PATH=$path
END
"$(command -v sshd)" -f /run/house/sshd_config -E /run/house/sshd.log
login="ssh -p 2222 -i $home/good -o BatchMode=yes localhost"
# What the other end runs is what is to be tried.
if [ "$HOUSE_SIDE" = lodge ]; then
    [ "$($login 'readlink -f "$(command -v virt-ssh-helper)"')" = "$(readlink -f "$LODGE")" ]
else
    [ "$($login 'command -v virt-ssh-helper')" = /usr/bin/virt-ssh-helper ]
fi
