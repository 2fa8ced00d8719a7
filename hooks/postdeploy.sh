#!/bin/sh
# After the code is there: Event Grid is subscribed and the address for native alerts is made. Neither can be earlier: Event
# Grid looks for the function first, and its key is made when the host first sees it. Run again, it comes to the same.
set -eu

app=${TOCSIN_FUNCTION_APP:?is an output of infra/main.bicep: run azd provision}
group=${AZURE_RESOURCE_GROUP:?names the resource group of Tocsin}
subscription=${AZURE_SUBSCRIPTION_ID:?names the subscription of Tocsin}
environment=${AZURE_ENV_NAME:?names this environment}
storage=${TOCSIN_STORAGE_ACCOUNT:?is an output of infra/main.bicep: run azd provision}
alerts=${TOCSIN_ALERTS_TO:?is an output of infra/main.bicep: run azd provision}
targets=${TOCSIN_TARGETS:?is an output of infra/main.bicep: run azd provision}
component=${WATCHED_APPLICATION_INSIGHTS:?is an output of infra/main.bicep: run azd provision}
workspace=${WATCHED_WORKSPACE:?is an output of infra/main.bicep: run azd provision}
role=${WATCHED_ROLE_NAME:-}
template=$(cd "$(dirname "$0")/.." && pwd)/infra/events.bicep
tries=${TOCSIN_HOOK_TRIES:-20}
pause=${TOCSIN_HOOK_PAUSE:-15}

# azd and az sign in separately; what az is set to by itself may be another subscription.
az account show --subscription "$subscription" --output none || { echo "Sign in first: az login" >&2; exit 1; }

# The host takes its time to see what was uploaded.
until az functionapp function list --name "$app" --subscription "$subscription" --resource-group "$group" --query "[].name" --output tsv | tr -d '\r' | grep -qx "$app/react"; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "$app has no function 'react': look at $app's log stream and at requirements.txt." >&2; exit 1; }
  sleep "$pause"
done

# A file, because quotes in an argument do not survive every shell.
file=$(mktemp)
question=$(mktemp)
trap 'rm -f "$file" "$question"' EXIT
cat > "$file" <<END
{
  "envName": { "value": "$environment" },
  "functionAppName": { "value": "$app" },
  "storageAccountName": { "value": "$storage" },
  "alertsTo": { "value": "$alerts" },
  "targets": { "value": $targets },
  "webhookObjectId": { "value": "${TOCSIN_WEBHOOK_OBJECT_ID:-}" },
  "webhookIdentifierUri": { "value": "${TOCSIN_WEBHOOK_IDENTIFIER_URI:-}" }
}
END
az deployment group create --subscription "$subscription" --resource-group "$group" --name "tocsin-events" --template-file "$template" --parameters "@$file" --output none

# What the app's telemetry calls itself. Names are anybody's to choose: of letters that a shell would read, none is shown.
cat > "$question" <<END
{ "query": "union isfuzzy=true AppTraces, AppRequests | where TimeGenerated > ago(7d) | summarize rows = sum(ItemCount) by component = tolower(_ResourceId), role = iff(isempty(AppRoleName), '?', replace_regex(AppRoleName, @'[^A-Za-z0-9 _.:/@+-]', '?')) | top 20 by rows | project component, role" }
END
watched=$(printf '%s' "$component" | tr '[:upper:]' '[:lower:]')
found=$(az rest --method post --subscription "$subscription" --url "https://api.loganalytics.io/v1/workspaces/$workspace/query" --resource "https://api.loganalytics.io" --body "@$question" --query "tables[0].rows[]" --output tsv) || found=unasked
short=${component##*/}
names=$(printf '%s\n' "$found" | tr -d '\r' | awk -F '\t' -v watched="$watched" '$1 == watched { print $2 }')
others=$(printf '%s\n' "$found" | tr -d '\r' | awk -F '\t' -v watched="$watched" '$1 != watched { print $1 }' | sed 's:.*/::' | sort -u)
choices() { printf '%s\n' "$names" | sed 's/.*/  azd env set WATCHED_ROLE_NAME "&"/' >&2; }
if [ "$found" = unasked ]; then
  echo "The workspace was not asked what its telemetry calls itself. Later: tocsin doctor" >&2
elif [ -z "$names$others" ]; then
  echo "There is no telemetry of the last 7 days yet. When there is: tocsin doctor"
elif [ -z "$names" ]; then
  echo "No telemetry of $short, and rules see nothing. Rows are of the components below; say which: azd env set WATCHED_APPLICATION_INSIGHTS_NAME NAME" >&2
  printf '%s\n' "$others" | sed 's/^/  /' >&2
elif [ -n "$role" ] && ! printf '%s\n' "$names" | grep -Fqx "$role"; then
  echo "No telemetry calls itself $role, and rules see nothing. Say one of these, then azd provision:" >&2
  choices
elif [ -z "$role" ] && [ "$(printf '%s\n' "$names" | wc -l)" -gt 1 ]; then
  echo "Several apps write to $short, and all count as one. Say which is watched, then azd provision:" >&2
  choices
else
  echo "Telemetry is found: $short, which calls itself ${role:-$names}"
fi

echo "Whether it watches: ${TOCSIN_PUBLIC_URL:-https://$app.azurewebsites.net}/api/health (with a key, /api/health/details says why not)"
