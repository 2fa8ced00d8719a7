// The plan (Flex Consumption) and the app with its settings. What the app reads and what is not here is listed, with the
// reason, in infra/README.md.

param name string
param planName string
param location string
param tags object
param pythonVersion string
param instanceMemory int
param maximumInstances int
param alwaysReady bool
param zoneRedundant bool
param subnetId string
param inboundAddresses string
param signInClientId string
param hostId string
param hostClientId string
param readerId string
param readerClientId string
param actuatorId string
param actuatorClientId string
param storageName string
param deploymentContainer string
param auditAddress string
param vaultUri string
param componentName string
param vaultSettings string
param wantsLinks bool

@description('Settings that main.bicep knows, and those of the operator.')
param settings object

var storageSuffix = environment().suffixes.storage
var blobAddress = 'https://${storageName}.blob.${storageSuffix}'
var queueAddress = 'https://${storageName}.queue.${storageSuffix}'
var tableAddress = 'https://${storageName}.table.${storageSuffix}'
var secretNames = filter(split(replace(vaultSettings, ' ', ''), ','), each => !empty(each))
var references = toObject(
  secretNames,
  each => each,
  each => '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/${replace(each, '_', '-')})'
)
var addresses = filter(split(replace(inboundAddresses, ' ', ''), ','), each => !empty(each))
var services = [
  {
    name: 'event-grid'
    action: 'Allow'
    priority: 100
    tag: 'ServiceTag'
    ipAddress: 'AzureEventGrid'
  }
  {
    name: 'action-groups'
    action: 'Allow'
    priority: 101
    tag: 'ServiceTag'
    ipAddress: 'ActionGroup'
  }
]
var people = [
  for (each, index) in addresses: {
    name: 'allowed-${index}'
    action: 'Allow'
    priority: 200 + index
    tag: 'Default'
    ipAddress: each
  }
]

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'tocsin' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${hostId}': {}
      '${readerId}': {}
      '${actuatorId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    keyVaultReferenceIdentity: hostId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobAddress}/${deploymentContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: hostId
          }
        }
      }
      runtime: {
        name: 'python'
        version: pythonVersion
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        // Only the timer: it is what must not be late. A cold start of the others costs a message some seconds.
        alwaysReady: alwaysReady ? [{ name: 'function:tick', instanceCount: 1 }] : []
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      ipSecurityRestrictions: empty(addresses) ? [] : concat(services, people)
      ipSecurityRestrictionsDefaultAction: empty(addresses) ? 'Allow' : 'Deny'
      // Whoever can deploy can act as any of the identities: the site of deployments is no wider open than the app.
      scmIpSecurityRestrictionsUseMain: true
    }
  }
}

resource appSettings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: union(
    {
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: hostClientId
      AzureWebJobsStorage__blobServiceUri: blobAddress
      AzureWebJobsStorage__queueServiceUri: queueAddress
      AzureWebJobsStorage__tableServiceUri: tableAddress
      APPLICATIONINSIGHTS_CONNECTION_STRING: component.properties.ConnectionString
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${hostClientId};Authorization=AAD'
      TOCSIN_TABLES: tableAddress
      TOCSIN_QUEUES: queueAddress
      TOCSIN_AUDIT: auditAddress
      TOCSIN_READER_CLIENT_ID: readerClientId
      TOCSIN_ACTUATOR_CLIENT_ID: actuatorClientId
      TOCSIN_ROLE_NAME: 'tocsin'
    },
    // Links need both their secret and an address: one alone is a problem that health tells.
    wantsLinks ? { TOCSIN_PUBLIC_URL: 'https://${app.properties.defaultHostName}' } : {},
    references,
    settings
  )
}

// Anybody may knock, for an action group and Event Grid bring a key of the function and nobody signed in. Who a person is
// stands in headers that the platform writes, and only while this is on.
resource signIn 'Microsoft.Web/sites/config@2025-03-01' = if (!empty(signInClientId)) {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: false
      unauthenticatedClientAction: 'AllowAnonymous'
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: signInClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [signInClientId, 'api://${signInClientId}']
          // Without a list the platform may answer 403 to whoever has a valid token, before the app is asked: people who
          // signed in here, and action groups (the second id, the same in every tenant) where their webhook brings a token.
          defaultAuthorizationPolicy: {
            allowedApplications: [signInClientId, '461e8683-5575-4561-ac7f-899cc907d62a']
          }
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
  // Two changes of one app at once are refused.
  dependsOn: [appSettings]
}

// Deployments take no user and password: who deploys signs in with Entra.
resource noPasswordsForDeployments 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
  dependsOn: [appSettings, signIn]
}

resource noPasswordsForFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
  dependsOn: [noPasswordsForDeployments]
}

output name string = app.name
output address string = 'https://${app.properties.defaultHostName}'
output tables string = tableAddress
output queues string = queueAddress
