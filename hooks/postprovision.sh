#!/bin/sh
# After provisioning: the secret that signs links is made where there is none, secrets that are missing are named, and the app
# is told to look its secrets up again. Roles are granted by Bicep; nothing here grants one. Run again, it changes nothing more.
set -eu

vault=${AZURE_KEY_VAULT_NAME:?is an output of infra/main.bicep: run azd provision}
app=${TOCSIN_FUNCTION_APP:?is an output of infra/main.bicep: run azd provision}
group=${AZURE_RESOURCE_GROUP:?names the resource group of Tocsin}
subscription=${AZURE_SUBSCRIPTION_ID:?names the subscription of Tocsin}
wanted=${TOCSIN_SECRET_SETTINGS:-TEAMS_WEBHOOK_URL,PAGERDUTY_ROUTING_KEY,TOCSIN_LINK_SECRET}
tries=${TOCSIN_HOOK_TRIES:-20}
pause=${TOCSIN_HOOK_PAUSE:-15}

# azd and az sign in separately; what az is set to by itself may be another subscription.
az account show --subscription "$subscription" --output none || { echo "Sign in first: az login" >&2; exit 1; }

if [ "${TOCSIN_PRIVATE_NETWORK:-false}" = true ]; then
  echo "The vault $vault is reached from its network alone. Run this there: TOCSIN_HOOK_INSIDE=true azd hooks run postprovision" >&2
  [ "${TOCSIN_HOOK_INSIDE:-false}" = true ] || exit 0
fi

# A role that was granted a minute ago may not be known everywhere yet.
until names=$(az keyvault secret list --vault-name "$vault" --query "[].name" --output tsv); do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "The vault $vault does not let you list its secrets: Key Vault Secrets Officer does." >&2; exit 1; }
  sleep "$pause"
done

has() { printf '%s\n' "$names" | tr -d '\r' | grep -qx "$1"; }

for setting in $(printf '%s' "$wanted" | tr ',' ' '); do
  secret=$(printf '%s' "$setting" | tr '_' '-')
  if has "$secret"; then
    continue
  elif [ "$secret" = TOCSIN-LINK-SECRET ]; then
    umask 077
    file=$(mktemp)
    trap 'rm -f "$file"' EXIT
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$file"
    az keyvault secret set --vault-name "$vault" --name "$secret" --file "$file" --encoding utf-8 --output none
    echo "$secret was made in $vault."
  else
    echo "$secret is missing in $vault. Until it is there, /api/health/details says that $setting is not set." >&2
  fi
done

# The app keeps what it looked up for a day, and also that there was nothing.
az rest --method post --url "/subscriptions/$subscription/resourceGroups/$group/providers/Microsoft.Web/sites/$app/config/configreferences/appsettings/refresh?api-version=2022-03-01" --output none
