# After the code is there: Event Grid is subscribed and the address for native alerts is made. Neither can be earlier: Event
# Grid looks for the function first, and its key is made when the host first sees it. Run again, it comes to the same.
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

$app = Need 'TOCSIN_FUNCTION_APP' 'is an output of infra/main.bicep: run azd provision'
$group = Need 'AZURE_RESOURCE_GROUP' 'names the resource group of Tocsin'
$subscription = Need 'AZURE_SUBSCRIPTION_ID' 'names the subscription of Tocsin'
$environment = Need 'AZURE_ENV_NAME' 'names this environment'
$storage = Need 'TOCSIN_STORAGE_ACCOUNT' 'is an output of infra/main.bicep: run azd provision'
$alerts = Need 'TOCSIN_ALERTS_TO' 'is an output of infra/main.bicep: run azd provision'
$targets = Need 'TOCSIN_TARGETS' 'is an output of infra/main.bicep: run azd provision'
$template = Join-Path (Split-Path -Parent $PSScriptRoot) 'infra/events.bicep'
$tries = [int](Either 'TOCSIN_HOOK_TRIES' '20')
$pause = [int](Either 'TOCSIN_HOOK_PAUSE' '15')

# azd and az sign in separately; what az is set to by itself may be another subscription.
az account show --subscription "$subscription" --output none
if ($LASTEXITCODE -ne 0) { throw 'Sign in first: az login' }

# The host takes its time to see what was uploaded.
while ($true) {
    $names = @(az functionapp function list --name "$app" --subscription "$subscription" --resource-group "$group" --query "[].name" --output tsv)
    if ($LASTEXITCODE -eq 0 -and $names -ccontains "$app/react") { break }
    $tries--
    if ($tries -le 0) { throw "$app has no function 'react': look at $app's log stream and at requirements.txt." }
    Start-Sleep -Seconds $pause
}

# A file, because quotes in an argument do not survive every shell.
$file = [IO.Path]::GetTempFileName()
try {
    $parameters = [ordered]@{
        envName              = @{ value = $environment }
        functionAppName      = @{ value = $app }
        storageAccountName   = @{ value = $storage }
        alertsTo             = @{ value = $alerts }
        targets              = @{ value = @($targets | ConvertFrom-Json) }
        webhookObjectId      = @{ value = Either 'TOCSIN_WEBHOOK_OBJECT_ID' '' }
        webhookIdentifierUri = @{ value = Either 'TOCSIN_WEBHOOK_IDENTIFIER_URI' '' }
    }
    [IO.File]::WriteAllText($file, ($parameters | ConvertTo-Json -Depth 10))
    az deployment group create --subscription "$subscription" --resource-group "$group" --name "tocsin-events" --template-file "$template" --parameters "@$file" --output none
    if ($LASTEXITCODE -ne 0) { throw 'Events could not be subscribed to.' }
} finally {
    Remove-Item -Force $file
}

Write-Output "Whether it watches: $(Either 'TOCSIN_PUBLIC_URL' "https://$app.azurewebsites.net")/api/health (with a key, /api/health/details says why not)"
