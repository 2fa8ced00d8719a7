// Storage and secrets over a virtual network alone: two subnets, an endpoint for each service, the names that lead there,
// and a NAT gateway. A landing zone brings its own subnets and zones.

param shortName string
param token string
param location string
param tags object
param addressPrefix string
param functionsSubnetId string
param endpointsSubnetId string

@description('Zones of yours by blob, queue, table and vault.')
param zoneIds object

param storageId string
param auditId string
param vaultId string

var makesNetwork = empty(functionsSubnetId) || empty(endpointsSubnetId)
var makesFunctionsSubnet = empty(functionsSubnetId)
var zoneNames = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  vault: 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
}
var kinds = ['blob', 'queue', 'table', 'vault']
var ends = [
  { name: 'state-blob', kind: 'blob', service: storageId, member: 'blob' }
  { name: 'state-queue', kind: 'queue', service: storageId, member: 'queue' }
  { name: 'state-table', kind: 'table', service: storageId, member: 'table' }
  { name: 'audit-blob', kind: 'blob', service: auditId, member: 'blob' }
  { name: 'secrets', kind: 'vault', service: vaultId, member: 'vault' }
]

// All that the app sends goes through its subnet, also what goes to receivers, to Azure Monitor and to Resource Manager.
// A new subnet has no way out by itself, so the app would be mute. Standard, for StandardV2 takes no delegated subnet.
resource outbound 'Microsoft.Network/publicIPAddresses@2025-09-01' = if (makesFunctionsSubnet) {
  name: 'pip-${shortName}-${token}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2025-09-01' = if (makesFunctionsSubnet) {
  name: 'ng-${shortName}-${token}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [{ id: outbound.id }]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-09-01' = if (makesNetwork) {
  name: 'vnet-${shortName}-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [addressPrefix]
    }
    subnets: [
      {
        name: 'functions'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 0)
          defaultOutboundAccess: false
          natGateway: makesFunctionsSubnet ? { id: gateway.id } : null
          delegations: [
            {
              name: 'functions'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 1)
          defaultOutboundAccess: false
          privateEndpointNetworkPolicies: 'Disabled'
        }
      }
    ]
  }
}

var networkId = makesNetwork ? network.id : split(endpointsSubnetId, '/subnets/')[0]
var functionsSubnet = makesNetwork ? '${network.id}/subnets/functions' : functionsSubnetId
var endpointsSubnet = makesNetwork ? '${network.id}/subnets/endpoints' : endpointsSubnetId

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for kind in kinds: if (!contains(zoneIds, kind)) {
    name: zoneNames[kind]
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (kind, index) in kinds: if (!contains(zoneIds, kind)) {
    parent: zones[index]
    name: 'tocsin-${token}'
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: {
        id: networkId
      }
    }
  }
]

resource endpoints 'Microsoft.Network/privateEndpoints@2025-09-01' = [
  for end in ends: {
    name: 'pe-${end.name}-${token}'
    location: location
    tags: tags
    properties: {
      subnet: {
        id: endpointsSubnet
      }
      privateLinkServiceConnections: [
        {
          name: end.name
          properties: {
            privateLinkServiceId: end.service
            groupIds: [end.member]
          }
        }
      ]
    }
  }
]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-09-01' = [
  for (end, index) in ends: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: end.kind
          properties: {
            privateDnsZoneId: contains(zoneIds, end.kind) ? zoneIds[end.kind] : resourceId('Microsoft.Network/privateDnsZones', zoneNames[end.kind])
          }
        }
      ]
    }
    dependsOn: [links]
  }
]

// Only when the names lead there: what starts before would look for the public address.
output functionsSubnetId string = functionsSubnet

@description('From where everything outside sees the app come. Empty in a subnet of yours.')
output outboundAddress string = makesFunctionsSubnet ? outbound!.properties.ipAddress : ''
