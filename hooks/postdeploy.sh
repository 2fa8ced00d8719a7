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
trap 'rm -f "$file"' EXIT
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

echo "Whether it watches: ${TOCSIN_PUBLIC_URL:-https://$app.azurewebsites.net}/api/health (with a key, /api/health/details says why not)"
