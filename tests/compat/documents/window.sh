# Shows a window on a screen of its own: sh window.sh NAME TITLE PROGRAM….
# Says whether a window of this title came and leaves its picture in $KEEP.
name=$1 title=$2
shift 2
export HOME=/run/house/home DISPLAY=:7 NO_AT_BRIDGE=1 GSETTINGS_BACKEND=memory XDG_RUNTIME_DIR=/run/house/home GDK_BACKEND=x11
Xvfb :7 -screen 0 1100x800x24 -nolisten tcp >/dev/null 2>&1 &
screen=$!
tries=0
until xdotool getdisplaygeometry >/dev/null 2>&1 || [ $tries -gt 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
dbus-run-session -- "$@" >"$KEEP/$name.log" 2>&1 &
program=$!
if timeout 40 xdotool search --sync --onlyvisible --name "$title" >/dev/null 2>&1; then
    echo "there is a window '$title'"
else
    echo "there is no window '$title'"
    grep -v dbus-daemon "$KEEP/$name.log"
    xdotool search --onlyvisible --name . getwindowname %@
fi
# What it shows comes a moment after the window.
sleep 4
import -window root "$KEEP/$name.png"
pkill -P $program
kill $program $screen
wait
