# Shows what pip does as one line on a terminal, and as a line now and then elsewhere; ends as pip ended ("exit N").
function say(words) { if (terminal) printf "\r\033[K  %s", words; else print "  " words; fflush() }
/^Collecting |^Requirement already satisfied: / {
  name = /^Collecting/ ? $2 : $4
  sub(/[=\[;].*/, "", name)
  if (!(name in seen)) { seen[name]; count++ }
  if (terminal || count % 25 == 0) say(count " of about " total " packages: " name)
}
/^Installing collected packages/ { say("installing " count " packages, which takes a minute …") }
/^exit / { status = $2 }
END { if (terminal) printf "\r\033[K"; print status ? "  pip failed: see above" : "  " count " packages"; exit status }
