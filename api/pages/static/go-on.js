// In place of a redirect: what is behind the `#` goes on, too, unless the target brings its own.
const target = new URL(document.getElementById("on").href);
if (!target.hash) target.hash = location.hash;
location.replace(target.href);
