// The secrets of receivers and of links. A value that is not given here leaves what the vault has.

param name string
param location string
param tags object
param privateNetwork bool
param purgeProtection bool

@secure()
param teamsWebhookUrl string

@secure()
param pagerdutyRoutingKey string

@secure()
param linkSecret string

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    // Once on it stays on, and false is refused: so it is true or not sent.
    enablePurgeProtection: purgeProtection ? true : null
    publicNetworkAccess: privateNetwork ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
      bypass: 'None'
    }
  }
}

resource teams 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (!empty(teamsWebhookUrl)) {
  parent: vault
  name: 'TEAMS-WEBHOOK-URL'
  properties: {
    value: teamsWebhookUrl
    contentType: 'text/plain'
  }
}

resource pagerduty 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (!empty(pagerdutyRoutingKey)) {
  parent: vault
  name: 'PAGERDUTY-ROUTING-KEY'
  properties: {
    value: pagerdutyRoutingKey
    contentType: 'text/plain'
  }
}

resource links 'Microsoft.KeyVault/vaults/secrets@2026-02-01' = if (!empty(linkSecret)) {
  parent: vault
  name: 'TOCSIN-LINK-SECRET'
  properties: {
    value: linkSecret
    contentType: 'text/plain'
  }
}

output id string = vault.id
output name string = vault.name
output uri string = vault.properties.vaultUri
