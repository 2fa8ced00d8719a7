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
$component = Need 'WATCHED_APPLICATION_INSIGHTS' 'is an output of infra/main.bicep: run azd provision'
$workspace = Need 'WATCHED_WORKSPACE' 'is an output of infra/main.bicep: run azd provision'
$role = Either 'WATCHED_ROLE_NAME' ''
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

# What the app's telemetry calls itself. Names are anybody's to choose: of letters that a shell would read, none is shown.
$question = [IO.Path]::GetTempFileName()
try {
    [IO.File]::WriteAllText($question, @'
{ "query": "union isfuzzy=true AppTraces, AppRequests | where TimeGenerated > ago(7d) | summarize rows = sum(ItemCount) by component = tolower(_ResourceId), role = iff(isempty(AppRoleName), '?', replace_regex(AppRoleName, @'[^A-Za-z0-9 _.:/@+-]', '?')) | top 20 by rows | project component, role" }
'@)
    $found = @(az rest --method post --subscription "$subscription" --url "https://api.loganalytics.io/v1/workspaces/$workspace/query" --resource "https://api.loganalytics.io" --body "@$question" --query "tables[0].rows[]" --output tsv)
    $answered = $LASTEXITCODE -eq 0
} finally {
    Remove-Item -Force $question
}
$watched = $component.ToLowerInvariant()
$short = ($component -split '/')[-1]
$rows = @($found | Where-Object { $_ } | ForEach-Object { , ($_ -split "`t") })
$names = @($rows | Where-Object { $_[0] -ceq $watched } | ForEach-Object { $_[1] })
$others = @($rows | Where-Object { $_[0] -cne $watched } | ForEach-Object { ($_[0] -split '/')[-1] } | Sort-Object -Unique)
if (-not $answered) {
    [Console]::Error.WriteLine('The workspace was not asked what its telemetry calls itself. Later: tocsin doctor')
} elseif (-not $names -and -not $others) {
    Write-Output 'There is no telemetry of the last 7 days yet. When there is: tocsin doctor'
} elseif (-not $names) {
    [Console]::Error.WriteLine("No telemetry of $short, and rules see nothing. Rows are of the components below; say which: azd env set WATCHED_APPLICATION_INSIGHTS_NAME NAME")
    $others | ForEach-Object { [Console]::Error.WriteLine("  $_") }
} elseif ($role -and $names -cnotcontains $role) {
    [Console]::Error.WriteLine("No telemetry calls itself $role, and rules see nothing. Say one of these, then azd provision:")
    $names | ForEach-Object { [Console]::Error.WriteLine("  azd env set WATCHED_ROLE_NAME `"$_`"") }
} elseif (-not $role -and $names.Count -gt 1) {
    [Console]::Error.WriteLine("Several apps write to $short, and all count as one. Say which is watched, then azd provision:")
    $names | ForEach-Object { [Console]::Error.WriteLine("  azd env set WATCHED_ROLE_NAME `"$_`"") }
} else {
    Write-Output "Telemetry is found: $short, which calls itself $(if ($role) { $role } else { $names })"
}

Write-Output "Whether it watches: $(Either 'TOCSIN_PUBLIC_URL' "https://$app.azurewebsites.net")/api/health (with a key, /api/health/details says why not)"
