// Who Tocsin is: one identity that reads, one that keeps state and acts, one with which the platform runs the app.

param shortName string
param token string
param location string
param tags object

@description('Reads telemetry and configuration of what is watched, and can do nothing else.')
resource reader 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-reader-${shortName}-${token}'
  location: location
  tags: tags
}

@description('Keeps the state and the audit, and changes the watched Container Apps.')
resource actuator 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-actuator-${shortName}-${token}'
  location: location
  tags: tags
}

@description('The host itself: its storage, the package, the secrets, telemetry of its own. Nothing that is watched.')
resource host 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-host-${shortName}-${token}'
  location: location
  tags: tags
}

output readerId string = reader.id
output readerClientId string = reader.properties.clientId
output readerPrincipalId string = reader.properties.principalId
output actuatorId string = actuator.id
output actuatorClientId string = actuator.properties.clientId
output actuatorPrincipalId string = actuator.properties.principalId
output hostId string = host.id
output hostClientId string = host.properties.clientId
output hostPrincipalId string = host.properties.principalId
