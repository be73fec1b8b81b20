#Requires -RunAsAdministrator
#Requires -Modules Hyper-V
# Removes machines, disks and switches of this lab. Media are kept.
. (Join-Path $PSScriptRoot 'lib.ps1')
Remove-LabVM -Name 'debian-dom0-dom0' -Lab 'debian-dom0'
Remove-LabDisk -Path 'C:\nestlab\debian-dom0\debian-dom0-dom0-disk0.vhdx'
