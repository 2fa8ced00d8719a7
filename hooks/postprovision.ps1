# After provisioning: the secret that signs links is made where there is none, secrets that are missing are named, and the app
# is told to look its secrets up again. Roles are granted by Bicep; nothing here grants one. Run again, it changes nothing more.
$ErrorActionPreference = 'Stop'
Set-StrictMode -Version Latest

function Need($name, $why) {
    $value = [Environment]::GetEnvironmentVariable($name)
    if (-not $value) { throw "${name}: $why" }
    $value
}

function Either($name, $default) {
    $value = [Environment]::GetEnvironmentVariable($name)
    if ($value) { $value } else { $default }
}

$vault = Need 'AZURE_KEY_VAULT_NAME' 'is an output of infra/main.bicep: run azd provision'
$app = Need 'TOCSIN_FUNCTION_APP' 'is an output of infra/main.bicep: run azd provision'
$group = Need 'AZURE_RESOURCE_GROUP' 'names the resource group of Tocsin'
$subscription = Need 'AZURE_SUBSCRIPTION_ID' 'names the subscription of Tocsin'
$wanted = Either 'TOCSIN_SECRET_SETTINGS' 'TEAMS_WEBHOOK_URL,PAGERDUTY_ROUTING_KEY,TOCSIN_LINK_SECRET'
$tries = [int](Either 'TOCSIN_HOOK_TRIES' '20')
$pause = [int](Either 'TOCSIN_HOOK_PAUSE' '15')

# azd and az sign in separately; what az is set to by itself may be another subscription.
az account show --subscription "$subscription" --output none
if ($LASTEXITCODE -ne 0) { throw 'Sign in first: az login' }

if ((Either 'TOCSIN_PRIVATE_NETWORK' 'false') -eq 'true') {
    [Console]::Error.WriteLine("The vault $vault is reached from its network alone. Run this there: `$env:TOCSIN_HOOK_INSIDE='true'; azd hooks run postprovision")
    if ((Either 'TOCSIN_HOOK_INSIDE' 'false') -ne 'true') { exit 0 }
}

# A role that was granted a minute ago may not be known everywhere yet.
while ($true) {
    $names = @(az keyvault secret list --vault-name "$vault" --query "[].name" --output tsv)
    if ($LASTEXITCODE -eq 0) { break }
    $tries--
    if ($tries -le 0) { throw "The vault $vault does not let you list its secrets: Key Vault Secrets Officer does." }
    Start-Sleep -Seconds $pause
}

foreach ($setting in ($wanted -split '[, ]+' | Where-Object { $_ })) {
    $secret = $setting -replace '_', '-'
    if ($names -ccontains $secret) {
        continue
    } elseif ($secret -ceq 'TOCSIN-LINK-SECRET') {
        $file = [IO.Path]::GetTempFileName()
        try {
            $bytes = [Security.Cryptography.RandomNumberGenerator]::GetBytes(32)
            [IO.File]::WriteAllText($file, [Convert]::ToHexString($bytes).ToLowerInvariant())
            az keyvault secret set --vault-name "$vault" --name "$secret" --file "$file" --encoding utf-8 --output none
            if ($LASTEXITCODE -ne 0) { throw "$secret could not be made in $vault." }
        } finally {
            Remove-Item -Force $file
        }
        Write-Output "$secret was made in $vault."
    } else {
        [Console]::Error.WriteLine("$secret is missing in $vault. Until it is there, /api/health/details says that $setting is not set.")
    }
}

# The app keeps what it looked up for a day, and also that there was nothing.
az rest --method post --url "/subscriptions/$subscription/resourceGroups/$group/providers/Microsoft.Web/sites/$app/config/configreferences/appsettings/refresh?api-version=2022-03-01" --output none
if ($LASTEXITCODE -ne 0) { throw "$app could not be told to look its secrets up again." }
