#Requires -RunAsAdministrator
#Requires -Modules Hyper-V
# Takes the media out.
. (Join-Path $PSScriptRoot 'lib.ps1')
